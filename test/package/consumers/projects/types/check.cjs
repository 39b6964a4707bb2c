/**
 * Checks the files named on the command line, and all that the package declares, as `tsc --strict` of TypeScript 5.9 does under each of the
 * settings: `node check.cjs <file> …`. One process, so that the CDK's declarations are not read for each setting. Prints the errors, what
 * an editor shows for two words of the first file, and the exports that it shows nothing for.
 */
const { readFileSync } = require('node:fs');
const ts = require('typescript-5');

const { ModuleKind, ModuleResolutionKind } = ts;
const [, , ...files] = process.argv;
const strict = { strict: true, noEmit: true, skipLibCheck: false, target: ts.ScriptTarget.ES2022, types: ['node'] };
const nodenext = { ...strict, module: ModuleKind.NodeNext };
const service = ts.createLanguageService(serviceHost(nodenext));
const first = service.getProgram();
const programs = {
  nodenext: first,
  node16: programOf({ ...strict, module: ModuleKind.Node16 }),
  bundler: programOf({ ...strict, module: ModuleKind.ESNext, moduleResolution: ModuleResolutionKind.Bundler }),
};
const errors = Object.entries(programs).flatMap(([name, program]) =>
  errorsOf(program).map((error) => `${name}: ${error}`),
);
const settings = Object.keys(programs);
console.log(JSON.stringify({ version: ts.version, settings, errors, shown: shown(), undocumented: undocumented() }));

/** Takes over what the first program has read in the same way. */
function programOf(options) {
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (path, how, ...others) => {
    const known = first.getSourceFile(path);
    return known?.impliedNodeFormat === how.impliedNodeFormat ? known : getSourceFile(path, how, ...others);
  };
  return ts.createProgram(files, options, host);
}

function serviceHost(options) {
  const { fileExists, readFile, readDirectory, directoryExists, getDirectories, realpath } = ts.sys;
  return {
    ...{ fileExists, readFile, readDirectory, directoryExists, getDirectories, realpath },
    useCaseSensitiveFileNames: () => ts.sys.useCaseSensitiveFileNames,
    getScriptFileNames: () => files,
    getScriptVersion: () => '1',
    getScriptSnapshot: (path) => (fileExists(path) ? ts.ScriptSnapshot.fromString(readFile(path)) : undefined),
    getCurrentDirectory: () => process.cwd(),
    getCompilationSettings: () => options,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
  };
}

function errorsOf(program) {
  const ours = program
    .getSourceFiles()
    .filter(({ fileName }) => files.includes(fileName) || fileName.includes('/edge-flag-relay/'));
  const found = ours.flatMap((file) => [
    ...program.getSyntacticDiagnostics(file),
    ...program.getSemanticDiagnostics(file),
  ]);
  const general = [...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()];
  return [...found, ...general].map(({ file, start, messageText }) => {
    const line = file ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    return `${file?.fileName ?? ''}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
}

/** What an editor shows where the first file calls `createReader`, and names an option of it. */
function shown() {
  const [file] = files;
  const text = readFileSync(file, 'utf8');
  const call = text.indexOf('createReader(');
  return Object.fromEntries(
    ['createReader', 'prefix'].map((word) => {
      const { displayParts, documentation } = service.getQuickInfoAtPosition(file, text.indexOf(word, call));
      return [word, { type: ts.displayPartsToString(displayParts), text: ts.displayPartsToString(documentation) }];
    }),
  );
}

/** The functions, classes and values without a docstring. */
function undocumented() {
  const checker = first.getTypeChecker();
  const imports = first.getSourceFile(files[0]).statements.filter(ts.isImportDeclaration);
  const ours = imports
    .map(({ moduleSpecifier }) => moduleSpecifier)
    .filter(({ text }) => text.startsWith('edge-flag-relay/'));
  return ours.flatMap((specifier) =>
    checker.getExportsOfModule(checker.getSymbolAtLocation(specifier)).flatMap((exported) => {
      const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
      const isValue = (symbol.flags & ts.SymbolFlags.Value) !== 0;
      return isValue && symbol.getDocumentationComment(checker).length === 0
        ? [`${specifier.text} ${exported.name}`]
        : [];
    }),
  );
}

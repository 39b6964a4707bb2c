/** The parts of a function URL's event and answer that the services use. AWS: "Invoking Lambda function URLs", request and response payload formats. */
export interface UrlEvent {
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly queryStringParameters?: Readonly<Record<string, string | undefined>>;
}

export interface UrlAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export type UrlHandler = (event: UrlEvent) => Promise<UrlAnswer>;

export function answer(statusCode: number, body: object, headers: Readonly<Record<string, string>> = {}): UrlAnswer {
  return { statusCode, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
}

export interface UpdateProblem {
  /**
   * `replaced`, `removed`: something with data or an address that clients use. `taken`: a name or an address range that another resource
   * has while this one is created. `import`: an export that another stack uses changes or disappears. `replicas`: a replica of the table
   * is deleted, or more than one change. `stalls`: ECS could start no task. `fewer-tasks`: the scaling target's maximum falls. `cut`: a
   * listener leaves its port. `addresses`: those by which the relay reaches LaunchDarkly change. `order`: CloudFormation makes a change in
   * an order that AWS refuses. `leftover`: something may stay that nobody wants.
   */
  readonly kind:
    | 'replaced'
    | 'removed'
    | 'taken'
    | 'import'
    | 'replicas'
    | 'stalls'
    | 'fewer-tasks'
    | 'cut'
    | 'addresses'
    | 'order'
    | 'leftover';
  /** Whether the deployment would fail, or cut or lose something that the stage does not ask for. Otherwise: worth knowing. */
  readonly refused: boolean;
  readonly stackName: string;
  /** The resource's logical ID. */
  readonly resource?: string;
  /** One sentence: what would happen. It names the stage's property if one is to blame. */
  readonly what: string;
  readonly advice: string;
}

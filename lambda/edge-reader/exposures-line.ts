/** The name of the first member of a log line with events. Subscriptions of logs filter by it. */
export const EXPOSURES_MARK = 'edgeFlagExposures';

// Which of the events that came back from the broker are due.

// Later than any wait can be: the clock has been put back since, by as much as a day perhaps. Two conditions and no `or`: each is
// one range of the index.
export const dueSql = ['retry_at <= now()', `retry_at > now() + interval '61 seconds'`];

export const eachDueSql = (columns: string, limit: number) =>
  dueSql.map((condition) => `(select ${columns} from event_retry where ${condition} order by retry_at limit ${limit})`);

-- What each allocator had in use and reserved over time, thinned: all moments of up to 400 events; of more, those where
-- either figure is highest or lowest in each hundredth of the time (of the events, where no times are told), and the first
-- and last. So the extremes are exact, and there are never more than 406 rows of an allocator.
-- trace: number of the trace
-- pass_name: time, profile or loop
-- device: `cpu`, or the number that the trace gives
-- allocator: as the trace names it
-- basis: what in_use_bytes counts from: total, growth, placed or relative, by memory_levels
-- events: allocations, frees and changes of the reservation in the trace
-- event: number of the one after which this was so, from 1; 0 for before the first
-- ts_ns: when; NULL where not told
-- in_use_bytes: in blocks that are in use
-- reserved_bytes: what the allocator had got from the driver or the system; NULL where not told
-- is_peak: the first moment at which most was in use; nowhere true where in_use_bytes is unknown throughout
WITH levels AS MATERIALIZED (FROM @memory_levels),
spans AS (
    SELECT series, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, count(ts_ns) = count(*) AND last_ns > first_ns AS timed,
        arg_max(event, in_use_bytes::HUGEINT * 1099511627776 - event) AS peak_event
    FROM levels GROUP BY series
),
hundredths AS (
    SELECT series, event, in_use_bytes, reserved_bytes,
        CASE
            WHEN timed THEN (ts_ns - first_ns)::HUGEINT * 100 // (last_ns - first_ns + 1)
            ELSE event::HUGEINT * 100 // (events + 1)
        END AS hundredth
    FROM levels JOIN spans USING (series) WHERE events > 400
),
extremes AS (
    -- of equals, the first: a level comes before an event's number in each key
    SELECT series, unnest([
        arg_max(event, in_use_bytes::HUGEINT * 1099511627776 - event),
        arg_min(event, in_use_bytes::HUGEINT * 1099511627776 + event),
        arg_max(event, reserved_bytes::HUGEINT * 1099511627776 - event),
        arg_min(event, reserved_bytes::HUGEINT * 1099511627776 + event)
    ]) AS event
    FROM hundredths GROUP BY series, hundredth
),
kept AS (
    SELECT series, event FROM extremes
    UNION
    SELECT series, event FROM levels WHERE events <= 400 OR event IN (0, events)
)
SELECT trace, pass_name, device, allocator, basis, events, event, ts_ns, in_use_bytes, reserved_bytes,
    coalesce(event = peak_event, false) AS is_peak
FROM levels SEMI JOIN kept USING (series, event) JOIN spans USING (series)
ORDER BY series, event

-- What each allocator had in use and reserved over time, thinned: all moments of up to 400 events; of more, those where
-- either figure is highest or lowest in each hundredth of the time (of the events, where no times are told), and the first
-- and last. So the extremes are exact, and there are never more than 406 rows of an allocator.
-- trace: number of the trace
-- pass_name: time or profile
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
hundredths AS (
    SELECT *,
        CASE
            WHEN max(ts_ns) OVER whole > min(ts_ns) OVER whole AND count(ts_ns) OVER whole = events + 1
                THEN (ts_ns - min(ts_ns) OVER whole)::HUGEINT * 100 // (max(ts_ns) OVER whole - min(ts_ns) OVER whole + 1)
            ELSE event::HUGEINT * 100 // (events + 1)
        END AS hundredth
    FROM levels
    WINDOW whole AS (PARTITION BY series)
),
extremes AS (
    -- of equals, the first
    SELECT series, unnest([
        max_by(event, (in_use_bytes, -event)) FILTER (in_use_bytes IS NOT NULL),
        min_by(event, (in_use_bytes, event)) FILTER (in_use_bytes IS NOT NULL),
        max_by(event, (reserved_bytes, -event)) FILTER (reserved_bytes IS NOT NULL),
        min_by(event, (reserved_bytes, event)) FILTER (reserved_bytes IS NOT NULL)
    ]) AS event
    FROM hundredths GROUP BY series, hundredth
),
peaks AS (
    SELECT series, max_by(event, (in_use_bytes, -event)) FILTER (in_use_bytes IS NOT NULL) AS peak_event
    FROM levels GROUP BY series
)
SELECT trace, pass_name, device, allocator, basis, events, event, ts_ns, in_use_bytes, reserved_bytes,
    coalesce(event = peak_event, false) AS is_peak
FROM levels JOIN peaks USING (series)
WHERE events <= 400 OR event IN (0, events) OR (series, event) IN (FROM extremes)
ORDER BY series, event

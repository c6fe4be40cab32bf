-- How long device work waits between the call that asked for it and its start, and how many launches queue before it. A
-- launch is a call to which the trace has device work; its delay ends where the first of that work starts, on each
-- stream that it reaches. Calls that launch a kernel by their name but have no work in the trace stand in a row without
-- a device, because the trace does not tell theirs; copies and sets of no bytes run nothing, so those are not missed.
-- trace: number of the trace
-- device: the number that the trace gives, as text; NULL for launches without device work
-- launches: calls with device work
-- launches_without_work: calls that launch a kernel and have none in the trace
-- work_without_launch: kernels, copies and sets whose launch the trace lacks
-- median_delay_ns: median from the start of the call to the start of its work; NULL where there is no launch
-- p90_delay_ns: 90th percentile
-- max_delay_ns: longest
-- early_starts: launches whose work starts before they do, which only a wrong clock can say; their delay is negative
-- median_queue: median number of earlier launches to the same stream whose work had not started when the call began
-- max_queue: largest
WITH calls AS (
    SELECT trace, correlation, min(ts_ns) AS launch_ns, bool_or(regexp_matches(name, 'launch\w*kernel', 'i')) AS is_kernel
    FROM slices WHERE kind = 'launch' AND correlation IS NOT NULL GROUP BY ALL
),
work AS (
    SELECT trace, device, stream, correlation, launch_ns, min(ts_ns) AS start_ns, count(*) AS slices
    FROM slices LEFT JOIN calls USING (trace, correlation)
    WHERE kind IN ('kernel', 'memcpy', 'memset') AND device IS NOT NULL GROUP BY ALL
),
launched AS (
    SELECT trace, device, stream, correlation, launch_ns, start_ns - launch_ns AS delay_ns,
        -- a launch leaves the queue after it came, however wrong the clock
        greatest(start_ns, launch_ns + 1) AS left_ns
    FROM work WHERE launch_ns IS NOT NULL
),
-- What leaves at a moment has left by the launches of that moment; launches of one moment do not queue for each other.
moves AS (
    SELECT trace, device, stream, left_ns AS at_ns, 1 AS has_left, NULL AS correlation, NULL AS delay_ns FROM launched
    UNION ALL
    SELECT trace, device, stream, launch_ns, 0, correlation, delay_ns FROM launched
),
queued AS (
    SELECT *,
        rank() OVER (PARTITION BY trace, device, stream, has_left ORDER BY at_ns) - 1
        - sum(has_left) OVER (
            PARTITION BY trace, device, stream ORDER BY at_ns, has_left DESC ROWS UNBOUNDED PRECEDING
        )::BIGINT AS queue
    FROM moves
),
matched AS (
    SELECT trace, device, count(DISTINCT correlation) AS launches,
        quantile_disc(delay_ns, 0.5) AS median_delay_ns,
        quantile_disc(delay_ns, 0.9) AS p90_delay_ns,
        max(delay_ns) AS max_delay_ns,
        count(DISTINCT correlation) FILTER (delay_ns < 0) AS early_starts,
        quantile_disc(queue, 0.5) AS median_queue,
        max(queue) AS max_queue
    FROM queued WHERE has_left = 0 GROUP BY ALL
),
devices AS (
    SELECT trace, device, coalesce(sum(slices) FILTER (launch_ns IS NULL), 0)::BIGINT AS work_without_launch
    FROM work GROUP BY ALL
)
SELECT trace, device, coalesce(launches, 0) AS launches, 0 AS launches_without_work, work_without_launch,
    median_delay_ns, p90_delay_ns, max_delay_ns, coalesce(early_starts, 0) AS early_starts, median_queue, max_queue
FROM devices LEFT JOIN matched USING (trace, device)
UNION ALL
SELECT trace, NULL, 0, count(*), 0, NULL, NULL, NULL, 0, NULL, NULL
FROM calls ANTI JOIN work USING (trace, correlation) WHERE is_kernel GROUP BY trace
ORDER BY trace, device

-- When each device did nothing between its first work and its last, and what the host did meanwhile. Of a run, only gaps within
-- its training steps have a cause of theirs.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- start_ns: start
-- end_ns: end
-- cause: other (the next work was launched before the gap, or its launch is not in the trace), outside (of the run's training
--   steps), sync (the host was in a call that waits for the device as the gap began), launch (the host launched the next work
--   within 1 ms), elsewhere (it took longer to)
-- call: the call that waited, or that launched the next work
-- call_ns: when the call began
-- thread: its thread
WITH launches AS (
    SELECT trace, correlation, min(ts_ns) AS launch_ns, min_by(name, ts_ns) AS launch, min_by(thread, ts_ns) AS thread
    FROM slices WHERE kind = 'launch' AND correlation IS NOT NULL GROUP BY ALL
),
work AS (
    SELECT slices.trace, device, epoch, step, launch_ns, launch, launches.thread, ts_ns, ts_ns + coalesce(dur_ns, 0) AS end_ns
    FROM slices LEFT JOIN launches USING (trace, correlation)
    WHERE kind IN ('kernel', 'memcpy', 'memset') AND device IS NOT NULL
),
placed AS (
    -- of slices that start together, the one launched first ends the gap
    SELECT *, max(end_ns) OVER before AS reached_ns, last(step) OVER before AS last_step, last(epoch) OVER before AS last_epoch
    FROM work
    WINDOW before AS (
        PARTITION BY trace, device ORDER BY ts_ns, launch_ns, end_ns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),
blocking AS (
    SELECT trace, name, thread, ts_ns, ts_ns + dur_ns AS end_ns
    FROM slices WHERE kind IN ('launch', 'annotation') AND dur_ns IS NOT NULL AND is_blocking(name)
),
stepped AS (
    SELECT DISTINCT trace, true AS stepped FROM work WHERE step IS NOT NULL
),
gaps AS (
    SELECT placed.trace, device, reached_ns AS start_ns, placed.ts_ns AS end_ns, launch_ns, launch, placed.thread,
        stepped IS NOT NULL AND (last_epoch IS DISTINCT FROM epoch OR last_step IS NULL OR step IS NULL) AS outside,
        blocking.end_ns >= reached_ns AND blocking.end_ns <= launch_ns AS waited,
        blocking.name AS waiting, blocking.ts_ns AS waiting_ns, blocking.thread AS waiting_thread
    FROM (FROM placed WHERE ts_ns > reached_ns) AS placed LEFT JOIN stepped USING (trace)
    ASOF LEFT JOIN blocking ON placed.trace = blocking.trace AND placed.reached_ns >= blocking.ts_ns
),
told AS (
    SELECT *,
        CASE
            WHEN launch_ns IS NULL OR launch_ns <= start_ns THEN 'other'
            WHEN outside THEN 'outside'
            WHEN waited THEN 'sync'
            WHEN end_ns - start_ns <= 1000000 THEN 'launch'
            ELSE 'elsewhere'
        END AS cause
    FROM gaps
)
SELECT trace, device, start_ns, end_ns, cause,
    CASE WHEN cause = 'sync' THEN waiting ELSE launch END AS call,
    CASE WHEN cause = 'sync' THEN waiting_ns ELSE launch_ns END AS call_ns,
    CASE WHEN cause = 'sync' THEN waiting_thread ELSE thread END AS thread
FROM told
ORDER BY trace, device, start_ns

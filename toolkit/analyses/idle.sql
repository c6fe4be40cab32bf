-- Idle time of each stream: what no kernel, copy or set of it covers between its first and its last. A gap is the host's
-- where the call that launched the next slice began after the work before had ended, the device's own where it is shorter
-- than 30 ns, else other (HolisticTraceAnalysis's definition); before a slice whose launch the trace lacks it is other.
-- idle = host wait + kernel wait + other, exactly. A slice of unknown duration counts, but lasts nothing.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- stream: the device's queue, as text; NULL where the trace does not tell
-- slices: kernels, copies and sets
-- gaps: gaps between them
-- span_ns: from the first slice's start to the last slice's end
-- idle_ns: sum of the gaps
-- host_wait_ns: gaps in which the device waited for the host to launch
-- kernel_wait_ns: gaps under 30 ns, between work that was launched in time
-- other_ns: all other gaps
WITH launches AS (
    SELECT trace, correlation, min(ts_ns) AS launch_ns FROM slices
    WHERE kind = 'launch' AND correlation IS NOT NULL GROUP BY ALL
),
work AS (
    SELECT trace, device, stream, launch_ns, ts_ns, ts_ns + coalesce(dur_ns, 0) AS end_ns
    FROM slices LEFT JOIN launches USING (trace, correlation)
    WHERE kind IN ('kernel', 'memcpy', 'memset') AND device IS NOT NULL
),
placed AS (
    -- of slices that start together, the one launched first ends the gap
    SELECT *, max(end_ns) OVER (
        PARTITION BY trace, device, stream ORDER BY ts_ns, launch_ns, end_ns
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS reached_ns
    FROM work
),
split AS (
    SELECT *, greatest(ts_ns - reached_ns, 0) AS gap_ns,
        CASE
            WHEN launch_ns IS NULL THEN 'other'
            WHEN launch_ns > reached_ns THEN 'host'
            WHEN gap_ns < 30 THEN 'kernel'
            ELSE 'other'
        END AS cause
    FROM placed
)
SELECT
    trace, device, stream, count(*) AS slices,
    count(*) FILTER (gap_ns > 0) AS gaps,
    max(end_ns) - min(ts_ns) AS span_ns,
    coalesce(sum(gap_ns), 0)::BIGINT AS idle_ns,
    coalesce(sum(gap_ns) FILTER (cause = 'host'), 0)::BIGINT AS host_wait_ns,
    coalesce(sum(gap_ns) FILTER (cause = 'kernel'), 0)::BIGINT AS kernel_wait_ns,
    coalesce(sum(gap_ns) FILTER (cause = 'other'), 0)::BIGINT AS other_ns
FROM split
GROUP BY trace, device, stream
ORDER BY trace, device, stream

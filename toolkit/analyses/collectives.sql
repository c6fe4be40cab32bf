-- Every collective that ran on a device: the kernels of NCCL and RCCL but for those of sends and receives, which end at
-- different moments on the ranks that they join.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- stream: the device's queue, as text
-- step: n of the ProfilerStep#n that its launch lies in; NULL where it lies in none
-- name: the kernel's, without its arguments
-- ts_ns: start
-- dur_ns: duration
WITH collectives AS (
    SELECT trace, device, stream, correlation, regexp_extract(name, '^[^(]*') AS name, ts_ns, dur_ns FROM slices
    WHERE kind = 'kernel' AND device IS NOT NULL AND dur_ns IS NOT NULL
        AND is_collective(name) AND NOT regexp_matches(name, 'sendrecv', 'i')
),
calls AS (
    SELECT trace, correlation, min(ts_ns) AS launch_ns FROM slices
    WHERE kind = 'launch' AND correlation IS NOT NULL GROUP BY ALL
),
launched AS (
    SELECT collectives.*, launch_ns FROM collectives LEFT JOIN calls USING (trace, correlation)
),
steps AS (
    SELECT trace, step, host_start_ns, host_end_ns FROM @profiler_steps
)
SELECT launched.trace, device, stream, CASE WHEN launch_ns < host_end_ns THEN step END AS step, name, ts_ns, dur_ns
FROM launched ASOF LEFT JOIN steps ON launched.trace = steps.trace AND launch_ns >= host_start_ns
ORDER BY launched.trace, device, stream, ts_ns, dur_ns

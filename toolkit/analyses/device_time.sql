-- What each device ran, and from when to when. A slice of unknown duration counts, but lasts nothing.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- kernels: kernels, collectives among them
-- comm_kernels: kernels of NCCL and RCCL
-- memcpys: copies
-- memsets: sets
-- kernel_sum_ns: sum of all kernels' durations
-- span_ns: from the first slice's start to the last slice's end
SELECT
    trace, device,
    count(*) FILTER (kind = 'kernel') AS kernels,
    count(*) FILTER (kind = 'kernel' AND is_collective(name)) AS comm_kernels,
    count(*) FILTER (kind = 'memcpy') AS memcpys,
    count(*) FILTER (kind = 'memset') AS memsets,
    coalesce(sum(dur_ns) FILTER (kind = 'kernel'), 0) AS kernel_sum_ns,
    max(ts_ns + coalesce(dur_ns, 0)) - min(ts_ns) AS span_ns
FROM slices
WHERE kind IN ('kernel', 'memcpy', 'memset') AND device IS NOT NULL
GROUP BY trace, device
ORDER BY trace, device

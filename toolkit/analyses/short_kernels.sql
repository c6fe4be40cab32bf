-- Kernels under 10 µs, which is about what the host takes to launch the next one: too short to hide it.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- kernels: all kernels
-- kernel_ns: sum of their durations
-- short_kernels: those under 10 µs
-- short_ns: sum of their durations
-- most_name: the name that most of that time goes to; NULL where there are none
WITH named AS (
    SELECT trace, device, name, count(*) AS kernels, sum(coalesce(dur_ns, 0)) AS ns,
        count(*) FILTER (dur_ns < 10000) AS short_kernels, coalesce(sum(dur_ns) FILTER (dur_ns < 10000), 0) AS short_ns
    FROM slices WHERE kind = 'kernel' AND device IS NOT NULL GROUP BY ALL
)
SELECT trace, device, sum(kernels)::BIGINT AS kernels, sum(ns)::BIGINT AS kernel_ns,
    sum(short_kernels)::BIGINT AS short_kernels, sum(short_ns)::BIGINT AS short_ns,
    max_by(name, short_ns) FILTER (short_kernels > 0) AS most_name
FROM named GROUP BY trace, device ORDER BY trace, device

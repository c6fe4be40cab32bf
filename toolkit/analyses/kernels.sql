-- The kernels of each device by name, most time first.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- name: as the trace gives it
-- category: by ingest/categories.toml; other where no rule knows the kernel
-- kernels: how many ran
-- ns: sum of their durations, nanoseconds; one of unknown duration lasts nothing
SELECT trace, device, name, coalesce(category, 'other') AS category, count(*) AS kernels,
    coalesce(sum(dur_ns), 0)::BIGINT AS ns
FROM slices WHERE kind = 'kernel' AND device IS NOT NULL
GROUP BY ALL
ORDER BY trace, device, ns DESC, name

-- Sums of durations of each device's kernels, copies and sets, by category. Slices that overlap count fully.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- category: by ingest/categories.toml; other where no rule knows the kernel
-- ns: sum of durations, nanoseconds
SELECT trace, device, coalesce(category, 'other') AS category, coalesce(sum(dur_ns), 0) AS ns
FROM slices
WHERE kind IN ('kernel', 'memcpy', 'memset') AND device IS NOT NULL
GROUP BY ALL
ORDER BY trace, device, ns DESC, category

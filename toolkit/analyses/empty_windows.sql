-- Steps without device work between steps that have some: the profiler did not record the device throughout. Steps are
-- those that PyTorch's profiler marked; one before the first with device work, or after the last, may be cut.
-- trace: number of the trace
-- pass_name: time, profile or loop; NULL for a trace that hwprof did not make
-- code: empty_window
-- count: how many
-- message: one sentence
-- untrusted: true
WITH steps AS (
    SELECT trace, device_end_ns IS NULL AS is_empty,
        host_start_ns BETWEEN min(host_start_ns) FILTER (device_end_ns IS NOT NULL) OVER whole
            AND max(host_start_ns) FILTER (device_end_ns IS NOT NULL) OVER whole AS is_within
    FROM @profiler_steps
    WINDOW whole AS (PARTITION BY trace)
)
SELECT trace, pass_name, 'empty_window' AS code, count(*) AS count,
    format('{} steps between others launched no device work.', count(*)) AS message, true AS untrusted
FROM steps JOIN traces USING (trace)
WHERE is_empty AND is_within
GROUP BY trace, pass_name
ORDER BY trace

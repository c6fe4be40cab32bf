-- The operators whose shapes tell their FLOPs, by shape, and the time that they took: on a device that of the kernels which
-- they launched, else, in a trace without kernels, their own on the host. Of one inside another the outer counts alone.
-- trace: number of the trace
-- device: the number that the trace gives, as text; NULL for the host
-- operator: as the trace names it
-- precision: of its operands: fp64 fp32 bf16 fp16, and tf32 where a kernel of its float32 says so; NULL where not told
-- flops: of one call
-- accessed_bytes: bytes of its operands and results, each once; NULL where not told
-- calls: how many
-- kernels: that they launched; 0 on the host
-- ns: their time together, nanoseconds
WITH worked AS (
    SELECT trace, coalesce(thread, '') AS thread, ts_ns, ts_ns + dur_ns AS end_ns, name AS operator, precision, flops,
        accessed_bytes, max(ts_ns + dur_ns) OVER (
            PARTITION BY trace, coalesce(thread, '') ORDER BY ts_ns, dur_ns DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS covered_to_ns
    FROM slices WHERE kind = 'op' AND flops IS NOT NULL AND dur_ns IS NOT NULL
),
outer_calls AS (
    SELECT *, row_number() OVER () AS call FROM worked WHERE ts_ns >= coalesce(covered_to_ns, ts_ns)
),
launches AS (
    SELECT trace, correlation, min(ts_ns) AS launch_ns, arg_min(coalesce(thread, ''), ts_ns) AS thread FROM slices
    WHERE kind = 'launch' AND correlation IS NOT NULL GROUP BY ALL
),
launched AS (
    SELECT launches.trace, correlation, call
    FROM launches ASOF JOIN outer_calls
        ON launches.trace = outer_calls.trace AND launches.thread = outer_calls.thread AND launch_ns >= ts_ns
    WHERE launch_ns < end_ns
),
on_devices AS (
    SELECT trace, device, call, count(*) AS kernels, coalesce(sum(dur_ns), 0)::BIGINT AS ns,
        bool_or(regexp_matches(name, 'tf32|s1688')) AS takes_tf32
    FROM slices JOIN launched USING (trace, correlation)
    WHERE kind = 'kernel' AND device IS NOT NULL GROUP BY ALL
),
timed AS (
    SELECT outer_calls.*, device, kernels, ns, takes_tf32 FROM on_devices JOIN outer_calls USING (trace, call)
    UNION ALL
    SELECT *, NULL, 0, end_ns - ts_ns, false FROM outer_calls
    ANTI JOIN (SELECT trace FROM slices WHERE kind = 'kernel') USING (trace)
)
SELECT trace, device, operator,
    CASE WHEN takes_tf32 AND precision = 'fp32' THEN 'tf32' ELSE precision END AS precision,
    flops, accessed_bytes, count(*) AS calls, sum(kernels)::BIGINT AS kernels, sum(ns)::BIGINT AS ns
FROM timed
GROUP BY ALL
ORDER BY trace, device, ns DESC, operator, precision, flops, accessed_bytes

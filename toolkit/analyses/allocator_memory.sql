-- What each allocator of a run's passes had and took, one row for each that tells: its own counters, as the framework gave
-- them last (at the last epoch's end), a native trace's events, or a CUDA allocator snapshot. Beside it what the device
-- had in use at the same moment: of a GPU NVML's figure less the one before the worker started, of the host what was resident
-- of the worker. The framework's device 0 is the first by number of the GPUs that the run was given; of a GPU that is split into
-- instances nothing is said.
-- pass_name: time, profile or loop
-- device: the framework's number of the GPU, as text, or `cpu`
-- framework: torch, tf or jax, where its counters tell; else NULL
-- trace: number of the trace, where one tells; else NULL
-- format: of the trace
-- allocator: as the trace names it; NULL where it does not
-- told_by: counters, live_arrays, trace or snapshot
-- basis: what in_use_bytes counts from: total, growth, placed or relative, by memory_levels
-- ts_ns: when in_use_bytes, reserved_bytes and device_bytes were so
-- in_use_bytes: in blocks that are in use
-- reserved_bytes: what the allocator had got from the driver or the system
-- peak_in_use_bytes: most in use, since the process began where counters tell, else in the trace
-- peak_reserved_bytes: most reserved, likewise
-- growth_events: how often it asked the driver for more, likewise
-- largest_free_bytes: largest free block that it holds
-- fragmented_bytes: what fragmentation counts: PyTorch's inactive split bytes; free bytes outside the largest free block
-- fragmentation: fragmented over reserved (PyTorch), over free bytes (BFC)
-- device_bytes: in use on the device, less the baseline; NULL where no sampler tells
WITH last_told AS (
    SELECT pass_name, source, device, metric, arg_max(value, ts_ns)::BIGINT AS value, max(ts_ns) AS ts_ns
    FROM counters WHERE source IN ('torch', 'tf', 'jax') GROUP BY ALL
),
pivoted AS (
    SELECT pass_name, device, source, max(ts_ns) AS ts_ns,
        max(value) FILTER (metric = 'in_use') AS in_use, max(value) FILTER (metric = 'live_arrays') AS live_arrays,
        max(value) FILTER (metric = 'reserved') AS reserved, max(value) FILTER (metric = 'peak_in_use') AS peak_in_use,
        max(value) FILTER (metric = 'peak_reserved') AS peak_reserved,
        max(value) FILTER (metric = 'growth_events') AS growth_events,
        max(value) FILTER (metric = 'largest_free') AS largest_free,
        CASE source WHEN 'torch' THEN max(value) FILTER (metric = 'inactive_split') ELSE reserved - in_use - largest_free END
            AS fragmented,
        CASE source WHEN 'torch' THEN reserved ELSE reserved - in_use END AS fragmented_of
    FROM last_told GROUP BY pass_name, device, source
),
counted AS (
    SELECT pass_name, device, source AS framework, NULL::INTEGER AS trace, NULL AS format, NULL AS allocator,
        CASE WHEN in_use IS NULL AND live_arrays IS NOT NULL THEN 'live_arrays' ELSE 'counters' END AS told_by,
        'total' AS basis, ts_ns, coalesce(in_use, live_arrays) AS in_use_bytes, reserved AS reserved_bytes,
        peak_in_use AS peak_in_use_bytes, peak_reserved AS peak_reserved_bytes, growth_events,
        largest_free AS largest_free_bytes, fragmented AS fragmented_bytes,
        fragmented / nullif(fragmented_of, 0) AS fragmentation
    FROM pivoted
),
levels AS MATERIALIZED (
    SELECT *, lag(reserved_bytes) OVER (PARTITION BY series ORDER BY event) AS reserved_before
    FROM @memory_levels WHERE pass_name IS NOT NULL
),
told AS (
    -- what only TensorFlow's events tell
    SELECT trace, device, allocator, max(peak_in_use_bytes) AS peak_in_use_bytes,
        arg_max(fragmentation, ts_ns) AS fragmentation
    FROM allocations GROUP BY ALL
),
traced AS (
    SELECT levels.pass_name, levels.device, NULL AS framework, levels.trace, format, levels.allocator,
        CASE format WHEN 'torch_memory_snapshot' THEN 'snapshot' ELSE 'trace' END AS told_by, any_value(basis) AS basis,
        max(ts_ns) AS ts_ns, arg_max(in_use_bytes, levels.event) AS in_use_bytes,
        arg_max(levels.reserved_bytes, levels.event) AS reserved_bytes,
        greatest(max(in_use_bytes), any_value(told.peak_in_use_bytes)) AS peak_in_use_bytes,
        max(levels.reserved_bytes) AS peak_reserved_bytes,
        CASE WHEN count(levels.reserved_bytes) > 0
            THEN count(*) FILTER (levels.reserved_bytes > reserved_before) END AS growth_events,
        any_value(held.largest_free_bytes) AS largest_free_bytes, any_value(held.inactive_split_bytes) AS fragmented_bytes,
        coalesce(any_value(held.inactive_split_share), any_value(told.fragmentation)) AS fragmentation
    FROM levels
    JOIN (SELECT trace, format FROM traces) AS formats ON levels.trace = formats.trace
    LEFT JOIN told ON levels.trace = told.trace AND levels.device IS NOT DISTINCT FROM told.device
        AND levels.allocator IS NOT DISTINCT FROM told.allocator
    LEFT JOIN @segments AS held ON levels.trace = held.trace AND levels.device = held.device
    GROUP BY levels.pass_name, levels.device, levels.trace, format, levels.allocator
),
outside AS (
    SELECT counters.pass_name, '0' AS device, counters.ts_ns, (counters.value - baseline.value)::BIGINT AS bytes
    FROM counters SEMI JOIN first_gpus USING (pass_name, device)
    JOIN @baseline AS baseline ON counters.pass_name = baseline.pass_name AND counters.device = baseline.device
        AND baseline.metric = 'memory_used'
    WHERE counters.source = 'nvml' AND counters.metric = 'memory_used'
    UNION ALL
    SELECT pass_name, 'cpu', ts_ns, value::BIGINT FROM counters WHERE source = 'host' AND metric = 'rss'
)
SELECT rows.*, outside.bytes AS device_bytes
FROM (FROM counted UNION ALL FROM traced) AS rows
ASOF LEFT JOIN outside ON rows.pass_name = outside.pass_name AND rows.device = outside.device AND rows.ts_ns >= outside.ts_ns
ORDER BY pass_name DESC, device, trace NULLS FIRST, allocator

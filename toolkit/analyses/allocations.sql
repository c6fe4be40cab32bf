-- What each allocator did while the trace was recorded. `peak_in_use_bytes` is as the trace counts it: PyTorch's CPU
-- figures begin at 0 with the profiler, so they are growth, not a total.
-- trace: number of the trace
-- pass_name: time, profile or loop
-- device: `cpu`, or the number that the trace gives
-- allocator: as the trace names it
-- allocations: blocks allocated
-- frees: blocks freed
-- allocated_bytes: sum of the blocks allocated
-- largest_bytes: largest block
-- peak_in_use_bytes: most bytes in use at once; NULL where the trace does not tell
-- peak_reserved_bytes: most bytes reserved at once; NULL where the trace does not tell
-- peak_ts_ns: when most were in use
SELECT
    trace, pass_name, device, allocator,
    count(*) FILTER (action = 'alloc') AS allocations,
    count(*) FILTER (action = 'free') AS frees,
    coalesce(sum(bytes) FILTER (action = 'alloc'), 0) AS allocated_bytes,
    max(bytes) FILTER (action = 'alloc') AS largest_bytes,
    max(in_use_bytes) AS peak_in_use_bytes,
    max(reserved_bytes) AS peak_reserved_bytes,
    arg_max(ts_ns, in_use_bytes) AS peak_ts_ns
FROM allocations
GROUP BY trace, pass_name, device, allocator
ORDER BY trace, device, allocator

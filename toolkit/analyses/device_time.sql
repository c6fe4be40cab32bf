-- Where each device's time went. busy is the union of all its slices; compute that of kernels which are not NCCL's or
-- RCCL's; exposed communication what NCCL and RCCL add to it; exposed memory traffic what copies and sets add to both.
-- span = compute + exposed communication + exposed memory traffic + idle, exactly. A slice of unknown duration counts, but
-- lasts nothing.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- kernels: kernels, collectives among them
-- comm_kernels: kernels of NCCL and RCCL
-- memcpys: copies
-- memsets: sets
-- kernel_sum_ns: sum of all kernels' durations
-- span_ns: from the first slice's start to the last slice's end
-- busy_ns: time in which at least one slice ran
-- idle_ns: time in which none ran
-- compute_ns: time in which at least one kernel other than a collective ran
-- exposed_comm_ns: time in which collectives ran and no other kernel did
-- exposed_memory_ns: time in which copies or sets ran and no kernel did
WITH work AS (
    SELECT
        trace, device, kind, ts_ns, coalesce(dur_ns, 0) AS dur_ns, ts_ns + coalesce(dur_ns, 0) AS end_ns,
        -- what a moment counts as where several run: 0 before 1 before 2
        CASE WHEN kind != 'kernel' THEN 2 WHEN regexp_matches(name, 'nccl|rccl', 'i') THEN 1 ELSE 0 END AS rank
    FROM slices
    WHERE kind IN ('kernel', 'memcpy', 'memset') AND device IS NOT NULL
),
-- Each level holds the ranks up to it, so its union less that of the level below is what its own rank adds.
levels AS (
    SELECT trace, device, level, ts_ns, end_ns,
        max(end_ns) OVER (
            PARTITION BY trace, device, level ORDER BY ts_ns, end_ns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS covered_to_ns
    FROM work JOIN (VALUES (0), (1), (2)) AS l(level) ON rank <= level
),
unions AS (
    SELECT trace, device, level,
        sum(greatest(end_ns - greatest(ts_ns, coalesce(covered_to_ns, ts_ns)), 0)) AS ns
    FROM levels GROUP BY ALL
),
covered AS (
    SELECT trace, device,
        coalesce(max(ns) FILTER (level = 0), 0) AS compute_ns,
        coalesce(max(ns) FILTER (level = 1), 0) AS kernel_ns,
        max(ns) FILTER (level = 2) AS busy_ns
    FROM unions GROUP BY ALL
),
counts AS (
    SELECT trace, device,
        count(*) FILTER (kind = 'kernel') AS kernels,
        count(*) FILTER (rank = 1) AS comm_kernels,
        count(*) FILTER (kind = 'memcpy') AS memcpys,
        count(*) FILTER (kind = 'memset') AS memsets,
        coalesce(sum(dur_ns) FILTER (kind = 'kernel'), 0) AS kernel_sum_ns,
        max(end_ns) - min(ts_ns) AS span_ns
    FROM work GROUP BY ALL
)
SELECT
    trace, device, kernels, comm_kernels, memcpys, memsets, kernel_sum_ns, span_ns, busy_ns, span_ns - busy_ns AS idle_ns,
    compute_ns, kernel_ns - compute_ns AS exposed_comm_ns, busy_ns - kernel_ns AS exposed_memory_ns
FROM counts JOIN covered USING (trace, device)
ORDER BY trace, device

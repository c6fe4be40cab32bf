-- Every slice of a device, by the part of its time that it counts to. A slice of unknown duration is not among them.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- part: communication (kernels of NCCL and RCCL), compute (every other kernel) or memory (copies and sets)
-- start_ns: start
-- end_ns: end
SELECT
    trace, device,
    CASE
        WHEN kind != 'kernel' THEN 'memory'
        WHEN is_collective(name) THEN 'communication'
        ELSE 'compute'
    END AS part,
    ts_ns AS start_ns, ts_ns + dur_ns AS end_ns
FROM slices
WHERE kind IN ('kernel', 'memcpy', 'memset') AND device IS NOT NULL AND dur_ns IS NOT NULL

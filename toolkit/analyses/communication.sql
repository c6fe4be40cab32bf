-- How much of each device's communication other kernels hid.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- rank: the trace's rank in its job; NULL where it does not tell
-- world_size: ranks in the job; NULL where the trace does not tell
-- comm_ns: time in which at least one kernel of NCCL or RCCL ran
WITH collectives AS (
    SELECT trace, device, ts_ns, ts_ns + coalesce(dur_ns, 0) AS end_ns,
        max(ts_ns + coalesce(dur_ns, 0)) OVER (
            PARTITION BY trace, device ORDER BY ts_ns, ts_ns + coalesce(dur_ns, 0)
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS covered_to_ns
    FROM slices WHERE kind = 'kernel' AND device IS NOT NULL AND is_collective(name)
)
SELECT trace, device, rank, world_size,
    sum(greatest(end_ns - greatest(ts_ns, coalesce(covered_to_ns, ts_ns)), 0))::BIGINT AS comm_ns
FROM collectives JOIN traces USING (trace)
GROUP BY ALL
ORDER BY trace, device

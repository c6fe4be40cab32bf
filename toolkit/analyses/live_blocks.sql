-- What was alive when a memory profile was taken that tells neither segments nor history, as JAX's do: by Python function.
-- trace: number of the trace
-- pass_name: time, profile or loop
-- device: `cpu`, or the number of the GPU
-- frame: Python function (file:line) that made the arrays, the user's own where told; `compiled code`; NULL where not told
-- blocks: buffers
-- bytes: their sum
SELECT trace, pass_name, device, frame, coalesce(sum(coalesce("count", 1)), 0)::BIGINT AS blocks,
    sum(bytes)::HUGEINT AS bytes
FROM blocks ANTI JOIN segments USING (trace) GROUP BY ALL
ORDER BY trace, device, bytes DESC, frame NULLS LAST

-- Kernels by what their own events say they are of, in traces that tell it of any: XPlane's.
-- trace: number of the trace
-- device: the number that the trace gives, as text
-- op: operator with its scope; NULL where the event does not tell
-- module: compiled module; NULL where the event does not tell
-- kernels: how many
-- kernel_ns: sum of their durations; one of unknown duration lasts nothing
SELECT trace, device, op, module, count(*) AS kernels, coalesce(sum(dur_ns), 0)::BIGINT AS kernel_ns
FROM slices SEMI JOIN (SELECT DISTINCT trace FROM slices WHERE op IS NOT NULL OR module IS NOT NULL) USING (trace)
WHERE kind = 'kernel' AND device IS NOT NULL
GROUP BY ALL
ORDER BY trace, device, op, module

-- What each allocator held when most was in use, by what had asked for it and when: an operator, or in snapshots a Python
-- frame; module, phase and step.
-- PyTorch's allocations are those of the innermost operator around them on their thread that does more than allocate
-- (aten::empty and its like do not); in TensorFlow's names the numbers of layers stand as *. The bytes sum to what was in
-- use exactly, but where that is relative. Nothing of an allocator whose trace tells no addresses, because it does not tell
-- which blocks are freed.
-- trace: number of the trace
-- pass_name: time, profile or loop
-- device: `cpu`, or the number that the trace gives
-- allocator: as the trace names it
-- asked_by: operator or frame; NULL where the trace does not tell
-- module: innermost module of PyTorch's around the allocation on its thread, where the trace has stacks; else NULL
-- phase: of the run's, in which it was allocated; NULL where not told
-- step: of the run's (epoch e, step s), or the number that the framework gave it; NULL outside of steps
-- seen: false for what was allocated before the trace's first event
-- blocks: how many; NULL where only their sum is known
-- bytes: their sum
WITH levels AS MATERIALIZED (FROM @memory_levels),
peaks AS (
    SELECT series, arg_max(event, in_use_bytes::HUGEINT * 1099511627776 - event) AS peak_event,
        max(in_use_bytes) AS peak_bytes
    FROM levels WHERE in_use_bytes IS NOT NULL GROUP BY series
    -- the addresses and sizes of all blocks, or of none
    HAVING count(*) FILTER (action IN ('alloc', 'free') AND (address IS NULL OR bytes IS NULL)) = 0
),
latest AS (
    SELECT series, max(event) AS event FROM levels JOIN peaks USING (series)
    WHERE action IN ('alloc', 'free') AND event <= peak_event GROUP BY series, address
),
alive AS (
    SELECT levels.* FROM levels SEMI JOIN latest USING (series, event) WHERE action = 'alloc'
),
-- Blocks that a snapshot holds and whose allocation its history does not reach.
held AS (
    SELECT DISTINCT series, blocks.address, blocks.requested_bytes AS bytes, frame
    FROM blocks JOIN (SELECT DISTINCT trace, device, series FROM levels WHERE basis = 'placed') USING (trace, device)
    ANTI JOIN (FROM levels WHERE action IN ('alloc', 'free')) USING (series, address)
),
operators AS (
    SELECT trace, thread, name, ts_ns, ts_ns + dur_ns AS end_ns FROM slices
    WHERE kind = 'op' AND dur_ns IS NOT NULL AND thread IN (SELECT thread FROM alive)
        AND NOT only_allocates(name)
),
asked AS (
    SELECT alive.series, alive.event, max_by(operators.name, (operators.ts_ns, -operators.end_ns)) AS operator
    FROM alive JOIN operators ON alive.trace = operators.trace AND alive.thread = operators.thread
        AND alive.ts_ns >= operators.ts_ns AND alive.ts_ns < operators.end_ns
    WHERE alive.frame IS NULL AND alive.op IS NULL
    GROUP BY ALL
),
modules AS (
    SELECT alive.series, alive.event, max_by(slices.name, (slices.ts_ns, -slices.dur_ns)) AS module
    FROM alive JOIN slices ON alive.trace = slices.trace AND alive.thread = slices.thread
        AND alive.ts_ns >= slices.ts_ns AND alive.ts_ns < slices.ts_ns + slices.dur_ns
    WHERE slices.kind = 'python' AND slices.name LIKE 'nn.Module: %' AND slices.dur_ns IS NOT NULL
    GROUP BY ALL
),
-- Phases' own stretches do not overlap within a pass, nor do its steps, and steps of a trace are those that no other holds.
phases AS (
    SELECT series, event, CASE WHEN alive.ts_ns < end_ns THEN name END AS phase
    FROM alive ASOF JOIN (SELECT * FROM own_stretches WHERE kind = 'phase') AS phases
        ON alive.pass_name = phases.pass_name AND alive.ts_ns >= start_ns
),
steps AS (
    SELECT series, event,
        CASE WHEN alive.ts_ns < marks.ts_ns + marks.dur_ns THEN format('epoch {}, step {}', epoch, step) END AS step
    FROM alive ASOF JOIN (SELECT * FROM marks WHERE kind = 'step') AS marks
        ON alive.pass_name = marks.pass_name AND alive.ts_ns >= marks.ts_ns
    UNION ALL
    SELECT series, event, CASE WHEN alive.ts_ns < host_end_ns THEN format('step {}', marked.step) END
    FROM alive ASOF JOIN marked_steps AS marked ON alive.trace = marked.trace AND alive.ts_ns >= host_start_ns
    WHERE alive.pass_name IS NULL
),
found AS (
    SELECT series, coalesce(frame, regexp_replace(op, '_\d+', '_*', 'g'), operator) AS asked_by, module, phase, step,
        true AS seen, count(*) AS blocks, sum(bytes) AS bytes
    FROM alive LEFT JOIN asked USING (series, event) LEFT JOIN modules USING (series, event)
        LEFT JOIN phases USING (series, event) LEFT JOIN steps USING (series, event)
    GROUP BY ALL
    UNION ALL
    SELECT series, frame, NULL, NULL, NULL, false, count(*), sum(bytes) FROM held GROUP BY ALL
),
rest AS (
    SELECT series, NULL AS asked_by, NULL AS module, NULL AS phase, NULL AS step, false AS seen, NULL AS blocks,
        peak_bytes - coalesce((SELECT sum(bytes) FROM found WHERE found.series = peaks.series), 0) AS bytes
    FROM peaks WHERE series NOT IN (SELECT series FROM levels WHERE basis = 'relative')
),
parts AS (
    SELECT series, asked_by, module, phase, step, seen,
        CASE WHEN bool_and(blocks IS NOT NULL) THEN sum(blocks)::BIGINT END AS blocks, sum(bytes)::BIGINT AS bytes
    FROM (FROM found UNION ALL (FROM rest WHERE bytes <> 0)) GROUP BY ALL
)
SELECT trace, pass_name, device, allocator, asked_by, module, phase, step, seen, blocks, bytes
FROM parts JOIN (SELECT DISTINCT series, trace, pass_name, device, allocator FROM levels) USING (series)
ORDER BY series, bytes DESC, asked_by NULLS LAST, module NULLS LAST, phase NULLS LAST, step NULLS LAST

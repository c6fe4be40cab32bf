-- What each allocator had in use and reserved after each of its events, in bytes, and before the first.
-- `total`: the allocator's own count, which the trace tells with each event. `growth`: PyTorch's count of the host's
-- memory, which begins at 0 with the profiler. `placed`: a CUDA allocator snapshot counted back from its end, where its
-- segments say what was in use; its sizes are those asked for, before rounding. `relative`: sums of what the events
-- allocate and free, from an unknown level that is called 0, so that it can be negative: where a trace tells sizes only,
-- and where a snapshot's history is not that of its segments (the addresses in use at its end differ, or it would be
-- negative). A failed request (oom) is no event here.
-- trace: number of the trace
-- pass_name: time, profile or loop
-- device: `cpu`, or the number that the trace gives
-- allocator: as the trace names it
-- series: number of the allocator within the store, from 1
-- basis: total, growth, placed or relative
-- event: number of the event by time, from 1; 0 for what was before the first
-- events: how many there are
-- ts_ns: when; of the first event where event is 0; NULL where not told
-- in_use_bytes: in blocks that are in use, after the event
-- reserved_bytes: what the allocator had got from the driver or the system; NULL where not told
-- action: alloc, free or, in snapshots, what changed the reservation; NULL where event is 0
-- bytes: size of the block or segment
-- address: of the block; NULL where not told
-- frame: Python frame that asked for the block; NULL where not told
-- op: operator that asked for the block; NULL where not told
-- thread: process/thread that asked for it; NULL where not told
WITH counted AS (
    SELECT trace, device, allocator, count(*) AS events, count(in_use_bytes) = count(*) AS told
    FROM allocations WHERE action <> 'oom' GROUP BY trace, device, allocator
),
known AS (
    SELECT counted.*, row_number() OVER (ORDER BY trace, device, allocator) AS series,
        CASE WHEN device = 'cpu' AND format = 'kineto' THEN 'growth' ELSE 'total' END AS basis_if_told
    FROM counted JOIN (SELECT trace, format FROM traces) USING (trace)
),
numbered AS (
    -- events of one moment stand in the order in which the trace tells them
    SELECT *, row_number() OVER () AS place FROM allocations
),
changes AS (
    SELECT numbered.*, series, events, told, basis_if_told,
        row_number() OVER (PARTITION BY series ORDER BY ts_ns NULLS LAST, place) AS event,
        CASE action WHEN 'alloc' THEN bytes WHEN 'free' THEN -bytes ELSE 0 END AS change,
        CASE
            WHEN action IN ('segment_alloc', 'segment_map') THEN bytes
            WHEN action IN ('segment_free', 'segment_unmap') THEN -bytes
            ELSE 0
        END AS reserved_change
    FROM numbered JOIN known ON numbered.trace = known.trace
        AND numbered.device IS NOT DISTINCT FROM known.device
        AND numbered.allocator IS NOT DISTINCT FROM known.allocator
    WHERE action <> 'oom'
),
-- What is in use at the end by the history, against what the segments hold.
last_by_history AS (
    SELECT trace, device, address, arg_max(action, event) AS action
    FROM changes SEMI JOIN segments USING (trace, device)
    WHERE action IN ('alloc', 'free') AND address IS NOT NULL GROUP BY trace, device, address
),
contradicted AS (
    SELECT DISTINCT trace, device FROM last_by_history LEFT JOIN blocks USING (trace, device, address)
    WHERE (action = 'alloc') <> (blocks.address IS NOT NULL)
),
ends AS (
    SELECT trace, device, sum(total_bytes) AS reserved_end,
        CASE WHEN count(requested_bytes) = count(*) THEN sum(requested_bytes) END AS in_use_end
    FROM segments ANTI JOIN contradicted USING (trace, device) GROUP BY trace, device
),
summed AS (
    SELECT changes.*, in_use_end, reserved_end,
        sum(change) OVER so_far AS net, sum(change) OVER whole AS net_end,
        sum(reserved_change) OVER so_far AS reserved_net, sum(reserved_change) OVER whole AS reserved_net_end
    FROM changes LEFT JOIN ends USING (trace, device) WHERE NOT told
    WINDOW whole AS (PARTITION BY series), so_far AS (PARTITION BY series ORDER BY event ROWS UNBOUNDED PRECEDING)
),
placed AS (
    SELECT *, in_use_end IS NOT NULL AND in_use_end - net_end + least(min(net) OVER whole, 0) >= 0 AS is_placed
    FROM summed WINDOW whole AS (PARTITION BY series)
),
levels AS (
    SELECT trace, pass_name, device, allocator, series, basis_if_told AS basis, event, events, ts_ns,
        in_use_bytes, reserved_bytes, change, reserved_change, action, bytes, address, frame, op, thread
    FROM changes WHERE told
    UNION ALL
    SELECT trace, pass_name, device, allocator, series, CASE WHEN is_placed THEN 'placed' ELSE 'relative' END,
        event, events, ts_ns,
        -- beyond 64 bits is unknown
        TRY_CAST(CASE WHEN is_placed THEN in_use_end - net_end + net ELSE net END AS BIGINT),
        TRY_CAST(coalesce(reserved_bytes, reserved_end - reserved_net_end + reserved_net) AS BIGINT),
        change, reserved_change, action, bytes, address, frame, op, thread
    FROM placed
)
SELECT * EXCLUDE (change, reserved_change) FROM levels
UNION ALL
SELECT trace, pass_name, device, allocator, series, basis, 0, events, ts_ns,
    TRY_CAST(in_use_bytes::HUGEINT - change AS BIGINT), TRY_CAST(reserved_bytes::HUGEINT - reserved_change AS BIGINT),
    NULL, NULL, NULL, NULL, NULL, NULL
FROM levels WHERE event = 1

-- What PyTorch's CUDA allocator held when a snapshot was taken, by device. Reserved = active + inactive, exactly.
-- Fragmentation is given as PyTorch counts it: `inactive_split_bytes` of torch.cuda.memory_stats, "non-releasable
-- memory", are inactive blocks of segments that are split, so that empty_cache cannot give them back; blocks of
-- expandable segments do not count.
-- trace: number of the trace
-- pass_name: time, profile or loop
-- device: number of the GPU, as text
-- segments: how many
-- blocks: how many the segments are split into
-- reserved_bytes: sum of the segments
-- allocated_bytes: in blocks that tensors use
-- active_bytes: allocated, or freed but still awaited by a stream
-- requested_bytes: what was asked for of the active bytes; NULL where not told
-- inactive_bytes: reserved but free for reuse
-- largest_free_bytes: largest inactive block
-- inactive_split_bytes: inactive bytes of segments that are split
-- inactive_split_share: inactive_split_bytes over reserved_bytes
WITH split AS (
    -- the allocator has told expandable segments apart for as long as it has had them
    SELECT *, blocks > 1 AND NOT coalesce(is_expandable, false) AS is_split FROM segments
)
SELECT
    trace, pass_name, device, count(*) AS segments, sum(blocks) AS blocks,
    sum(total_bytes) AS reserved_bytes,
    sum(allocated_bytes) AS allocated_bytes,
    sum(active_bytes) AS active_bytes,
    CASE WHEN count(requested_bytes) = count(*) THEN sum(requested_bytes) END AS requested_bytes,
    sum(total_bytes::HUGEINT - active_bytes) AS inactive_bytes,
    max(largest_free_bytes) AS largest_free_bytes,
    coalesce(sum(total_bytes::HUGEINT - active_bytes) FILTER (is_split), 0) AS inactive_split_bytes,
    inactive_split_bytes / nullif(reserved_bytes, 0) AS inactive_split_share
FROM split
GROUP BY trace, pass_name, device
ORDER BY trace, device

-- What programs and frameworks marked on the host: the ranges that take most time in each trace, by name. Ranges may lie in each
-- other, so the times do not add up. PyTorch's own marks, which traces of 2021 and before hold as operators, are among them.
-- trace: number of the trace
-- name: as the trace gives it; a number at its end stands as *
-- calls: how many
-- total_ns: sum of their durations; NULL beyond 64 bits
-- longest_ns: the longest
WITH named AS (
    SELECT trace, regexp_replace(name, '\d+$', '*') AS name, dur_ns FROM slices
    WHERE dur_ns IS NOT NULL AND (
        kind = 'annotation'
        OR kind = 'op'
            AND regexp_matches(name, '^(ProfilerStep|enumerate\(Data(Loader|Pipe)\)|Optimizer\.(step|zero_grad))#')
    )
),
summed AS (
    SELECT trace, name, count(*) AS calls, sum(dur_ns) AS whole_ns, max(dur_ns) AS longest_ns FROM named GROUP BY ALL
)
SELECT trace, name, calls, TRY_CAST(whole_ns AS BIGINT) AS total_ns, longest_ns FROM summed
QUALIFY row_number() OVER (PARTITION BY trace ORDER BY whole_ns DESC, name) <= 20
ORDER BY trace, whole_ns DESC, name

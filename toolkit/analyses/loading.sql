-- When the host loaded batches, or waited for one, as each trace tells.
-- trace: number of the trace
-- part: data
-- start_ns: start
-- end_ns: end
SELECT trace, 'data' AS part, ts_ns AS start_ns, ts_ns + dur_ns AS end_ns
FROM slices WHERE dur_ns IS NOT NULL AND kind IN ('op', 'annotation') AND is_loading(name)

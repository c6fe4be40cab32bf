-- What this machine, this driver or this framework does not tell.
-- pass_name: time, profile or loop
-- source: nvml, host, pyspy, or the framework
-- device: GPU index as text; NULL where it concerns them all
-- metric: what could not be had
-- reason: why, in the vendor's or the system's own words
-- since_ns: since when, where it had been told before: ns of CLOCK_REALTIME
SELECT DISTINCT pass_name, source, device, metric, reason, ts_ns AS since_ns FROM unavailable ORDER BY ALL

"""The few shapes of query that the dashboards are made of."""


def rate(series: str) -> str:
    return f"rate({series}[$__rate_interval])"


def summed_rate(series: str, by: str = "") -> str:
    return f"sum{_by(by)}({rate(series)})"


def share(series: str, part: str, within: str = "") -> str:
    """What part of the whole rate each value of the label `part` has; `within` are labels that tell wholes apart."""
    parts = ", ".join(label for label in (within, part) if label)
    grouping = f"ignoring({part}) group_left"
    return f"{summed_rate(series, parts)} / {grouping} {summed_rate(series, within)}"


def mean(name: str, selector: str, by: str = "") -> str:
    """Of a histogram or summary."""
    return f"{summed_rate(f'{name}_sum{selector}', by)} / {summed_rate(f'{name}_count{selector}', by)}"


def quantile(fraction: float, name: str, selector: str, by: str = "") -> str:
    labels = ", ".join(label for label in ("le", by) if label)
    return f"histogram_quantile({fraction}, {summed_rate(f'{name}_bucket{selector}', labels)})"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""

"""What a run's ranks do: heartbeats, hangs, failures; `sentalign doctor`."""

"""Run independent jobs, a process each, on this machine or on a Dask cluster."""

"""Engines start an agent on every node with an existing program (Slurm, MPI, Ray). One file each; none schedules."""

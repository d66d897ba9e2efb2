"""The connected end-points of all hosts: sessions, whole listings in shared rounds, and what was last seen where."""

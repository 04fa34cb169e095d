"""The papers' comparison, rerun: tables, guidelines, latencies and the chart. Research that the product never imports."""

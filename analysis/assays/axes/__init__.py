"""Are body axes in the cells' states, beyond what any smooth field shows? `protocol` has the steps."""

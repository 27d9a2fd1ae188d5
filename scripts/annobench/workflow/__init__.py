"""What the rules ask for, one module per chapter of workflow/rules; plan, launcher, scaffold, driver."""

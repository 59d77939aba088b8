"""The machines of a run: connections to an agent on each, and the hosts and jobs behind them."""

"""What operators and autoscalers read of the deployment."""

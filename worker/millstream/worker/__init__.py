"""Executes runs. Knows LangGraph and arq; never HTTP."""

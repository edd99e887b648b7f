"""Numpy arrays in, pictures and Plotly figures out: no torch, no streamlit."""

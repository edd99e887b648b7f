"""The Streamlit pages and the widgets that they share."""

"""The quiz at the lesson's end: six questions, each with its reason."""

from __future__ import annotations

import streamlit as st

from ...lesson.steps import QUIZ, STEPS
from ..run.kept import keep

_TITLES = {step.id: step.title for step in STEPS}


def show_quiz() -> None:
    """Draw the questions; an answer is judged at once."""
    st.markdown("#### Six questions")
    st.caption("Each can be answered from what the lesson shows. Choose, and read the reason.")
    right = answered = 0
    for i, question in enumerate(QUIZ):
        chosen = st.radio(f"**{i + 1}.** {question.text}", question.answers, index=None, key=keep(f"quiz-{i}"))
        if chosen is None:
            continue
        answered += 1
        correct = chosen == question.answers[question.right]
        right += correct
        verdict, other = st.columns([4, 1], vertical_alignment="center")
        with verdict:
            (st.success if correct else st.info)(("Right. " if correct else "Not quite. ") + question.reason)
        with other:
            st.button("See the step", key=f"look-{i}", on_click=_go_to, args=(question.step,), help=_TITLES[question.step])
    st.progress(answered / len(QUIZ), text=f"{answered} of {len(QUIZ)} answered, {right} right")
    if answered:
        st.button("Start again", on_click=_forget)


def _go_to(step: str) -> None:
    st.session_state["part"], st.session_state["step"] = "lesson", step


def _forget() -> None:
    for i in range(len(QUIZ)):
        st.session_state[f"quiz-{i}"] = None

"""The quiz at the lesson's end: six questions, each with its reason."""

from __future__ import annotations

import streamlit as st

from ...lesson.steps import QUIZ, STEPS
from ..run.state import keep
from .present import answer_wanted

_TITLES = {step.id: step.title for step in STEPS}


def show_quiz() -> None:
    """Draw the questions; an answer is judged at once."""
    st.markdown("#### Six questions")
    right = answered = 0
    for i, question in enumerate(QUIZ):
        answer = question.answers[question.right]
        chosen = st.session_state.get(f"quiz-{i}")
        shown = st.container()  # the question; whether its answer is wanted is known below it
        wanted = answer_wanted(f"quiz-{i}")
        with shown:
            st.radio(
                f"**{i + 1}.** {question.text}",
                question.answers,
                index=None,
                key=keep(f"quiz-{i}"),
                captions=[_mark(a, chosen, answer) for a in question.answers] if chosen or wanted else None,
            )
        if wanted and not chosen:
            st.info(question.reason)
        if not chosen:
            continue
        answered += 1
        correct = chosen == answer
        right += correct
        verdict, other = st.columns([4, 1], vertical_alignment="center")
        with verdict:
            (st.success if correct else st.info)(("Right. " if correct else "Not quite. ") + question.reason)
        with other:
            st.button(
                "See the step", key=f"look-{i}", on_click=_go_to, args=(question.step,), help=_TITLES[question.step]
            )
    st.progress(answered / len(QUIZ), text=f"{answered} of {len(QUIZ)} answered, {right} right")
    if answered:
        st.button("Start again", on_click=_forget)


def _mark(option: str, chosen: str | None, right: str) -> str:
    if option == right:
        return ":green[**✓ the right one**]"
    return ":red[✗ your answer]" if option == chosen else ""


def _go_to(step: str) -> None:
    st.session_state["part"], st.session_state["step"] = "lesson", step


def _forget() -> None:
    for i in range(len(QUIZ)):
        st.session_state[f"quiz-{i}"] = None

"""The shapes of what succeeds, for the API document alone: answers are written as they are and never pass through here.

Closed on purpose: a member that is sent and not told, or told and not sent, turns a test red
(tests/service/test_answers.py).
"""

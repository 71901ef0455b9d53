"""The form of a suggestion's line, and what may not follow in it; needs numpy alone.

A line breaks the form when it has no word, a character that no query has, more than eight words, a word twice, or no end
within 16 tokens.
"""

import numpy as np

ALLOWED = set("abcdefghijklmnopqrstuvwxyz0123456789 -'’")
WORDS, TOKENS = 8, 16

#: What a token does to a line: it has a character that no query has, begins a word, ends the line, or goes on with a word.
WRONG, BEGINS, ENDS, GOES_ON = range(4)


def fault(start, answer, end, texts):
    """What breaks the form, or None; answer: tokens after the start."""
    if answer[-1] != end or len(answer) > TOKENS:
        return "no end"
    text = "".join(texts[t] for t in answer[:-1])
    words = (start + text).split()
    if not text.strip():
        return "no word"
    if not text.startswith(" ") or any(c not in ALLOWED for c in text):
        return "character"
    if len(words) > WORDS:
        return "too long"
    return "word twice" if len(set(words)) < len(words) else None


class Form:
    """Says which tokens break the form at each place of an answer."""

    def __init__(self, texts, end):
        self.texts, self.end = texts, end
        self.kinds = np.array([ENDS if i == end else WRONG if not text or any(c not in ALLOWED for c in text)
                               else BEGINS if text[0] == " " else GOES_ON for i, text in enumerate(texts)], np.int8)
        self.ids = {text: i for i, text in enumerate(texts) if self.kinds[i] in (BEGINS, GOES_ON)}

    def broken_by(self, start, answer, right=False):
        """
        For each place of an answer up to where it breaks the form: kinds of tokens that break it there, and other tokens
        that write a word again that is there already.

        right: the answer is in the form, so its own tokens are none of these

        A word of one or two letters, or a number of up to three digits, may be the beginning of another: these are
        counted only when it is finished.
        """
        text, places = "", []
        for place, token in enumerate(answer):
            whole = start + text
            words = whole.split()
            open_word = not whole.endswith(" ")
            before, current = (words[:-1], words[-1]) if open_word else (words, "")
            kinds = {WRONG}
            again = set()
            if place == 0:
                kinds |= {GOES_ON, ENDS}
            elif not text.strip():
                kinds |= {ENDS}
            if place == TOKENS - 1:
                kinds |= {BEGINS, GOES_ON}
            if len(words) >= WORDS:
                kinds |= {BEGINS} if open_word else {BEGINS, GOES_ON}
            if open_word and place > 0 and current in before:
                kinds |= {BEGINS, ENDS}
            for word in set(words):
                if len(word) > (3 if word.isdigit() else 2):
                    again.add(" " + word if open_word else word)
                    if open_word and word != current and word.startswith(current) and place > 0:
                        again.add(word[len(current):])
            again = {self.ids[w] for w in again if w in self.ids} - ({token} if right else set())
            places.append((kinds, sorted(i for i in again if self.kinds[i] not in kinds)))
            if self.kinds[token] in kinds or token == self.end:
                break
            text += self.texts[token]
            written = (start + text).split()
            if not right and written[-1] in written[:-1] and len(written[-1]) > (3 if written[-1].isdigit() else 2):
                break
        return places

// Immediate feedback for the questions at the end of a chapter. A question is
//   <fieldset class="question"> … radio buttons … </fieldset> <details class="answer" data-right="b"> … </details>
// and without this script the reader opens the answer. The page is never changed except for what this adds to each question.
for (const question of document.querySelectorAll("fieldset.question")) {
  const answer = question.nextElementSibling;
  if (!answer || !answer.matches("details.answer[data-right]")) continue;
  const feedback = document.createElement("p");
  feedback.setAttribute("role", "status"); // must be there, empty, before it is filled: then screen readers announce its text
  question.append(feedback);
  question.addEventListener("change", (event) => {
    const isRight = event.target.value === answer.dataset.right;
    question.dataset.state = isRight ? "right" : "wrong";
    feedback.textContent = isRight ? "✓ Right. The answer below says why." : "✗ Not quite. Choose again, or open the answer below.";
  });
}

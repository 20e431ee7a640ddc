"""Records against limits: pure functions of plain data, which know no model, no session and no screen."""

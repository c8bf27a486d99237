//! `tidegate.yaml`: read, checked all at once, lowered to a plan request.

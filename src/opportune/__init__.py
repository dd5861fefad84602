"""Opportune: a real-time personalization engine that you run yourself."""

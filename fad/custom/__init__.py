"""Rules of one's own: functions whose derivative the user gives, operations that fad does not know, plain Python in programs."""

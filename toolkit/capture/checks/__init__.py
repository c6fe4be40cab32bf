"""What `hwprof doctor` looks at, a file a subject. A check takes the machine and gives findings; it changes nothing."""

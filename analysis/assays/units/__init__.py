"""What does each hidden unit do?"""

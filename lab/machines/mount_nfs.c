int main(void){return 32;}
